// The maps of the latent space that stand in the run directories, one at a time.
import { data } from "./data.js";
import { byId, element } from "./elements.js";

export function showLatentMaps() {
  const section = byId("latent");
  const choice = section.querySelector("select");
  const map = element("img", { alt: "Map of the latent space", class: "map" });
  section.append(map);
  choice.append(...data.latent.map(({ row }, index) => new Option(data.labels[row], index)));
  const showChosen = () => {
    const { command, picture } = data.latent[choice.value];
    map.src = picture;
    section.querySelector("code").textContent = command;
  };
  choice.addEventListener("change", showChosen);
  showChosen();
}
