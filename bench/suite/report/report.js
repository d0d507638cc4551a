// Draws everything once, and again what a choice or the screen changes.

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
addEventListener("resize", () => {  // not for height alone: phones change it while scrolling
  if (innerWidth !== width) drawPlots();
  width = innerWidth;
});
