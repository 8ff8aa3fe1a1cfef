for (const box of document.querySelectorAll(".samples")) {
  const pictures = JSON.parse(box.querySelector("script").textContent);
  const [slider, output, image] = ["input", "output", "img"].map((name) => box.querySelector(name));
  const show = () => {
    const { step, source } = pictures[slider.value];
    image.src = source;
    image.alt = `samples at step ${step}`;
    output.textContent = `step ${step}`;
  };
  slider.addEventListener("input", show);
  show();
}
