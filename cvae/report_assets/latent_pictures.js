// The maps of the latent space that stand in the run directories, one at a time.
(() => {
  const { latent, labels } = JSON.parse(document.getElementById("data").textContent);
  const section = document.getElementById("latent");
  section.hidden = latent.length === 0;
  if (section.hidden) return;
  const choice = section.querySelector("select");
  choice.append(...latent.map(({ row }, index) => new Option(labels[row], index)));
  const show = () => {
    const { command, picture } = latent[choice.value];
    section.querySelector("img").src = picture;
    section.querySelector("code").textContent = command;
  };
  choice.addEventListener("change", show);
  show();
})();
