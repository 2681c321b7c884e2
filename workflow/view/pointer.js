// Mouse, pen and fingers on the picture: a click is a point, a drag is a box.

const SHORTEST_DRAG = 8; // pixels of the screen; anything shorter is a click

// Call `on.drag(first, second)` while a box is dragged, then `on.box(first, second)`, or `on.cancel()` if the browser
// takes the finger to scroll; and `on.point(at, isMain)`, where `isMain` is false for the right button or with Shift.
// Corners and points are shares of the width and the height.
export function watchPointer(canvas, on) {
  let start = null;
  const isDrag = (event) => Math.hypot(event.clientX - start.x, event.clientY - start.y) >= SHORTEST_DRAG;
  const locate = (event) => {
    const frame = canvas.getBoundingClientRect();
    const shares = [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
    return shares.map((share) => Math.min(Math.max(share, 0), 1));
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary) return;
    canvas.setPointerCapture(event.pointerId);
    start = { x: event.clientX, y: event.clientY, at: locate(event), isMain: event.button === 0 && !event.shiftKey };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (start && isDrag(event)) on.drag(start.at, locate(event));
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!start) return;
    if (isDrag(event)) on.box(start.at, locate(event));
    else on.point(start.at, start.isMain);
    start = null;
  });
  canvas.addEventListener("pointercancel", () => {
    if (start) on.cancel();
    start = null;
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
}
