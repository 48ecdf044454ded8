// A picture with a box in it: only what is in the box is searched with. By pointer, or by the arrow keys.

import { button, el } from "../dom.js";

const LEAST = 0.05; // of the picture's side
const STEP = 0.02;
const EDGES = ["nw", "ne", "sw", "se"];
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const QUALITY = 0.95;
const HOW = "Drag the corners to one person; arrow keys and Shift do the same.";

/** The box over one picture. It begins as the whole of it. */
export class Crop {
  element;
  hint;
  #file;
  #image;
  #box;
  #told = el("p", { className: "hint", role: "status" }, HOW);
  #area = { left: 0, top: 0, width: 1, height: 1 };
  #address;

  constructor(file) {
    this.#file = file;
    this.#address = URL.createObjectURL(file);
    this.#image = el("img", { alt: "The picture that is searched with", src: this.#address, draggable: false });
    const handles = EDGES.map((edge) => el("span", { className: `handle ${edge}`, ariaHidden: "true" }));
    this.#box = el("div", {
      className: "crop-box", tabIndex: 0, role: "group",
      ariaLabel: "Part of the picture that is searched with. Arrow keys move it, with Shift they change its size.",
    }, handles);
    this.element = el("div", { className: "crop" }, this.#image, this.#box);
    this.hint = this.#told;
    this.#image.addEventListener("error", () => this.element.classList.add("blind"));
    this.#box.addEventListener("keydown", (event) => this.#press(event));
    this.#box.addEventListener("pointerdown", (event) => this.#drag(event));
    this.#draw();
  }

  /** The file itself if the box is the whole picture, else the part within as a JPEG. */
  async file() {
    const { left, top, width, height } = this.#area;
    if (width > 0.999 && height > 0.999) return this.#file;
    const picture = await createImageBitmap(this.#file);
    const [x, y] = [Math.round(left * picture.width), Math.round(top * picture.height)];
    const canvas = el("canvas", {
      width: Math.max(1, Math.round(width * picture.width)), height: Math.max(1, Math.round(height * picture.height)),
    });
    canvas.getContext("2d").drawImage(picture, -x, -y);
    picture.close();
    const part = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
    return new File([part], this.#file.name || "picture.jpg", { type: "image/jpeg" });
  }

  /** The picture is not shown any more. */
  end() {
    URL.revokeObjectURL(this.#address);
  }

  #press(event) {
    const move = MOVES[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const [x, y] = [move[0] * STEP, move[1] * STEP];
    if (event.shiftKey) this.#resize("se", x, y, this.#area);
    else this.#move(x, y, this.#area);
    this.#tell();
  }

  #drag(event) {
    event.preventDefault();
    this.#box.focus();
    const edge = EDGES.find((name) => event.target.classList.contains(name));
    const { width, height } = this.#image.getBoundingClientRect();
    if (width === 0 || height === 0) return; // it is not there yet
    const [start, area] = [[event.clientX, event.clientY], { ...this.#area }];
    const ending = new AbortController();
    const follow = (moved) => {
      const [x, y] = [(moved.clientX - start[0]) / width, (moved.clientY - start[1]) / height];
      if (edge) this.#resize(edge, x, y, area);
      else this.#move(x, y, area);
    };
    const end = () => {
      ending.abort();
      this.#tell();
    };
    this.#box.setPointerCapture(event.pointerId);
    this.#box.addEventListener("pointermove", follow, { signal: ending.signal });
    this.#box.addEventListener("pointerup", end, { signal: ending.signal });
    this.#box.addEventListener("pointercancel", end, { signal: ending.signal });
  }

  #move(x, y, from) {
    const left = clamp(from.left + x, 0, 1 - from.width);
    const top = clamp(from.top + y, 0, 1 - from.height);
    this.#area = { ...from, left, top };
    this.#draw();
  }

  #resize(edge, x, y, from) {
    const [right, bottom] = [from.left + from.width, from.top + from.height];
    const left = edge.includes("w") ? clamp(from.left + x, 0, right - LEAST) : from.left;
    const top = edge.includes("n") ? clamp(from.top + y, 0, bottom - LEAST) : from.top;
    const width = edge.includes("e") ? clamp(from.width + x, LEAST, 1 - from.left) : right - left;
    const height = edge.includes("s") ? clamp(from.height + y, LEAST, 1 - from.top) : bottom - top;
    this.#area = { left, top, width, height };
    this.#draw();
  }

  #draw() {
    const { left, top, width, height } = this.#area;
    const { style } = this.#box;
    [style.left, style.top, style.width, style.height] = [left, top, width, height].map((part) => `${part * 100}%`);
  }

  #tell() {
    const { left, top, width, height } = this.#area;
    const whole = width > 0.999 && height > 0.999;
    const percent = (part) => `${Math.round(part * 100)} %`;
    const place = `Box: ${percent(width)} wide, ${percent(height)} high, ${percent(left)} from the left, ${percent(top)} from the top. `;
    const reset = button("Whole picture", () => {
      this.#area = { left: 0, top: 0, width: 1, height: 1 };
      this.#draw();
      this.#tell();
      this.#box.focus();
    }, { className: "textual" });
    this.#told.replaceChildren(...(whole ? [HOW] : [place, reset]));
  }
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}
