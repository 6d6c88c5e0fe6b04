// The maps of the latent space that stand in the run directories, one at a time.
import { data } from "./data.js";
import { byId } from "./elements.js";

export function showLatentMaps() {
  const section = byId("latent");
  const choice = section.querySelector("select");
  choice.append(...data.latent.map(({ row }, index) => new Option(data.labels[row], index)));
  const showChosen = () => {
    const { command, picture } = data.latent[choice.value];
    section.querySelector("img").src = picture;
    section.querySelector("code").textContent = command;
  };
  choice.addEventListener("change", showChosen);
  showChosen();
}
