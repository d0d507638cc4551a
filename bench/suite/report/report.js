// Draws everything once, and redraws the parts that a choice or a change of the screen affects.

function drawPlots() {
  drawRate();
  drawSpeed();
}

function draw() {
  drawPlots();
  drawBd();
}

setUpStyles();
setUpChoices();
resetLevel();
for (const id of ["level-range", "level-number"]) {
  find(id).addEventListener("input", (event) => {
    if (event.target.value === "") return;
    setLevel(Number(event.target.value));
    drawSpeed();
  });
}
draw();
drawLossless();
drawPoints();
setUpViewer();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPlots);
let width = innerWidth;
addEventListener("resize", () => {  // not for height alone, which phones change while scrolling
  if (innerWidth !== width) drawPlots();
  width = innerWidth;
});
