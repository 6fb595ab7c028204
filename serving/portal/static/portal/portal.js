/* Makes the portal's pages quicker and kinder; all that matters works without it.

   A form is sent by fetch with `X-Fragment: result`; what comes back is the result panel, whose address
   is that of the page that a browser without scripts would have been led to. */

"use strict";

const form = document.getElementById("ask");
const result = document.getElementById("result");
const announcement = document.getElementById("announcement");

document.documentElement.classList.add("scripted");

/* The address that the page shows now, without its fragment. */
let shown = location.pathname + location.search;
let asking = null;

// ---- the result panel

function announce(text) {
  announcement.textContent = "";
  // A change is what is read out, also where the text is the same as before.
  setTimeout(() => { announcement.textContent = text; }, 50);
}

function busy(isBusy) {
  result.setAttribute("aria-busy", String(isBusy));
  for (const button of form.querySelectorAll("#start, #another-seed")) {
    button.setAttribute("aria-disabled", String(isBusy));
  }
  const start = document.getElementById("start");
  if (isBusy && !start.dataset.label) {
    start.dataset.label = start.textContent;
    start.textContent = form.dataset.busy;
    announce(form.dataset.busy);
  } else if (!isBusy && start.dataset.label) {
    start.textContent = start.dataset.label;
    delete start.dataset.label;
  }
}

function show(html) {
  // The portal's own templates, which escape what they show.
  result.innerHTML = html;
  const heading = document.getElementById("result-title");
  heading?.focus({ preventScroll: true });
  const narrow = getComputedStyle(document.querySelector(".work")).gridTemplateColumns.split(" ").length < 2;
  if (narrow || result.getBoundingClientRect().top < 0) {
    result.scrollIntoView({ block: "start" });
  }
  const answer = result.querySelector("[data-summary]");
  // A problem speaks for itself.
  announce(answer?.dataset.summary ?? "");
}

function problem(title, message) {
  const section = document.createElement("section");
  section.className = "problem";
  section.setAttribute("role", "alert");
  section.dataset.code = "unreachable";
  const heading = document.createElement("h2");
  heading.id = "result-title";
  heading.tabIndex = -1;
  heading.textContent = title;
  const text = document.createElement("p");
  text.className = "message";
  text.textContent = message;
  const again = document.createElement("button");
  again.type = "button";
  again.className = "retry";
  again.textContent = "Try again";
  section.append(heading, text, again);
  result.replaceChildren(section);
  announce("");
  heading.focus();
}

/* Asks, and shows what comes; `options` as for fetch. */
async function ask(address, options = {}) {
  asking?.abort();
  const mine = asking = new AbortController();
  busy(true);
  try {
    const response = await fetch(address, {
      ...options,
      headers: { "X-Fragment": "result" },
      credentials: "same-origin",
      signal: mine.signal,
    });
    // What is between may answer for the portal, with a page of its own.
    if (!response.headers.has("X-Request-ID")) throw new TypeError("not an answer of the portal");
    const html = await response.text();
    if (response.status === 400 && response.headers.has("X-Error-Field")) {
      refuse(response.headers.get("X-Error-Field"), messageIn(html));
      return;
    }
    show(html);
    if (response.ok || response.status === 503) remember(response.url);
  } catch (error) {
    if (error.name === "AbortError") return;
    problem("No connection", "The portal cannot be reached. Your picture is still chosen; please try again.");
  } finally {
    if (asking === mine) {
      asking = null;
      busy(false);
    }
  }
}

function messageIn(html) {
  return new DOMParser().parseFromString(html, "text/html").querySelector(".message")?.textContent ?? "";
}

function remember(address) {
  const place = new URL(address);
  if (place.pathname + place.search === shown) return;
  shown = place.pathname + place.search;
  history.pushState(null, "", shown);
}

function send(submitter = null) {
  const data = new FormData(form);
  if (submitter?.name) data.append(submitter.name, submitter.value);
  if (form.method === "post") return ask(form.action, { method: "POST", body: data });
  return ask(`${form.action}?${new URLSearchParams(data)}`);
}

// ---- errors beside a field

function refuse(name, message) {
  const place = form.querySelector(`[data-field="${name}"]`);
  const text = place?.querySelector(".field-error");
  if (!text) {
    problem("That could not be used", message);
    return;
  }
  forgive(place);
  text.textContent = message;
  text.hidden = false;
  const input = place.querySelector("input");
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", `${input.getAttribute("aria-describedby") ?? ""} ${text.id}`.trim());
  input.focus();
  announce("");
}

function forgive(place) {
  const text = place.querySelector(".field-error");
  const input = place.querySelector("input");
  text.hidden = true;
  text.textContent = "";
  input.removeAttribute("aria-invalid");
  const others = (input.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== text.id);
  if (others.length) input.setAttribute("aria-describedby", others.join(" "));
  else input.removeAttribute("aria-describedby");
}

// ---- fields of pictures

class PictureField {
  constructor(place) {
    this.place = place;
    this.name = place.dataset.field;
    this.drop = place.querySelector(".drop");
    this.input = place.querySelector('input[type="file"]');
    this.preview = place.querySelector(".preview");
    this.samples = [...place.querySelectorAll('.samples input[type="radio"]')];
    // The picture of the result that the page was opened with: it counts until another one is chosen.
    this.kept = place.querySelector(".kept") && { address: this.preview.src, text: this.preview.alt };
    for (const each of place.querySelectorAll(".with-script")) each.hidden = false;
    this.input.addEventListener("change", () => this.chosen());
    for (const sample of this.samples) sample.addEventListener("change", () => this.sampled(sample));
    place.querySelector(".samples").addEventListener("click", (event) => this.clicked(event));
    // What the browser cannot show, the portal may still be able to read, or tell what is wrong with it.
    this.preview.addEventListener("error", () => this.hide());
    // Some browsers keep what was chosen over a reload.
    const kept = this.samples.find((sample) => sample.checked);
    if (this.input.files.length) this.chosen();
    else if (kept) this.sampled(kept);
    this.drop.addEventListener("dragenter", () => this.drop.classList.add("over"));
    this.drop.addEventListener("dragleave", (event) => {
      if (!this.drop.contains(event.relatedTarget)) this.drop.classList.remove("over");
    });
  }

  get filled() {
    return this.input.files.length > 0 || this.samples.some((sample) => sample.checked) || this.kept !== null;
  }

  /* Takes a file that was dropped, pasted or photographed. */
  take(file) {
    const carrier = new DataTransfer();
    carrier.items.add(file);
    this.input.files = carrier.files;
    this.chosen();
    if (this.input.files.length) announce("The picture is chosen.");
  }

  chosen() {
    forgive(this.place);
    const [file] = this.input.files;
    if (!file) {
      // Some browsers forget the file when another choice is cancelled.
      if (!this.samples.some((sample) => sample.checked)) this.clear();
      return;
    }
    for (const sample of this.samples) sample.checked = false;
    if (file.size > Number(form.dataset.maxBytes)) {
      this.input.value = "";
      this.clear();
      const most = Number(form.dataset.maxBytes) / (1024 * 1024);
      refuse(this.name, `The file is too large: at most ${most} MB can be taken.`);
      return;
    }
    this.look(URL.createObjectURL(file), "The chosen picture");
  }

  sampled(sample) {
    forgive(this.place);
    this.input.value = "";
    const image = sample.nextElementSibling;
    this.look(image.currentSrc || image.src, image.alt);
  }

  look(address, text) {
    if (this.preview.src.startsWith("blob:")) URL.revokeObjectURL(this.preview.src);
    this.preview.src = address;
    this.preview.alt = text;
    this.preview.hidden = false;
    this.drop.classList.add("filled");
  }

  /* Nothing is chosen now. */
  clear() {
    if (this.kept) this.look(this.kept.address, this.kept.text);
    else this.hide();
  }

  hide() {
    this.preview.hidden = true;
    this.drop.classList.remove("filled");
  }

  /* One click on a sample sends the form, once all its pictures are there. Arrow keys only choose: their
     clicks come from the radio button itself. */
  clicked(event) {
    if (event.target.matches("input") || !event.target.closest("label")) return;
    setTimeout(() => { if (fields.every((field) => field.filled)) send(); }, 0);
  }
}

const fields = form ? [...form.querySelectorAll(".picture-field")].map((place) => new PictureField(place)) : [];

/* The field that a pasted picture, or one dropped beside all fields, goes to. */
function nextField() {
  const focused = fields.find((field) => field.place.contains(document.activeElement));
  return focused ?? fields.find((field) => !field.filled) ?? fields[0];
}

function pictureOf(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? transfer?.files?.[0];
}

if (fields.length) {
  document.addEventListener("dragover", (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    const file = pictureOf(event.dataTransfer);
    for (const field of fields) field.drop.classList.remove("over");
    if (!file) return;
    event.preventDefault();
    const field = fields.find((each) => each.place.contains(event.target)) ?? nextField();
    field.take(file);
    document.getElementById("start").focus();
  });
  document.addEventListener("paste", (event) => {
    const file = pictureOf(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    nextField().take(file);
    document.getElementById("start").focus();
  });
}

// ---- the camera

const camera = document.getElementById("camera");

async function offerCamera() {
  if (!camera || !navigator.mediaDevices?.getUserMedia) return;
  const devices = await navigator.mediaDevices.enumerateDevices();
  if (!devices.some((device) => device.kind === "videoinput")) return;
  for (const field of fields) {
    const button = field.place.querySelector(".camera");
    button.hidden = false;
    button.addEventListener("click", () => photograph(field));
  }
}

async function photograph(field) {
  const view = document.getElementById("camera-view");
  const take = document.getElementById("camera-take");
  const error = document.getElementById("camera-error");
  let stream = null;
  let closed = false;
  const stop = () => {
    closed = true;
    for (const track of stream?.getTracks() ?? []) track.stop();
    view.srcObject = null;
  };
  camera.addEventListener("close", stop, { once: true });
  document.getElementById("camera-cancel").onclick = () => camera.close();
  take.onclick = () => {
    const canvas = document.createElement("canvas");
    canvas.width = view.videoWidth;
    canvas.height = view.videoHeight;
    canvas.getContext("2d").drawImage(view, 0, 0);
    canvas.toBlob((blob) => {
      camera.close();
      field.take(new File([blob], "camera.jpg", { type: "image/jpeg" }));
      document.getElementById("start").focus();
    }, "image/jpeg", 0.92);
  };
  error.hidden = true;
  take.disabled = true;
  camera.showModal();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "user" } });
    if (closed) {
      stop();
      return;
    }
    view.srcObject = stream;
    await view.play();
    take.disabled = false;
  } catch (failure) {
    if (closed) return;
    error.textContent = failure.name === "NotAllowedError"
      ? "The browser does not let the portal use the camera."
      : "The camera cannot be used right now.";
    error.hidden = false;
  }
}

offerCamera().catch(() => { /* Without a list of cameras there is no button. */ });

// ---- what happens where

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  if (result.getAttribute("aria-busy") === "true") return;
  const empty = fields.find((field) => !field.filled);
  if (empty) {
    const which = fields.length > 1 ? `the ${empty.name} picture` : "a picture";
    refuse(empty.name, `Please choose ${which} first.`);
    return;
  }
  for (const place of form.querySelectorAll("[data-field]")) forgive(place);
  send(event.submitter);
});

result?.addEventListener("click", (event) => {
  const retry = event.target.closest(".retry");
  if (!retry) return;
  event.preventDefault();
  // A picture that is kept has an address to ask again; what never arrived is sent again.
  if (retry.closest("[data-status='503']") && retry.href !== form.action) ask(retry.href);
  else send();
});

/* A face and its box light up together. */
for (const [over, out] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  result?.addEventListener(over, (event) => light(event.target, true));
  result?.addEventListener(out, (event) => light(event.target, false));
}

function light(target, on) {
  const number = target.closest?.("[data-face]")?.dataset.face;
  if (number === undefined) return;
  for (const each of result.querySelectorAll(`[data-face="${number}"]`)) each.classList.toggle("lit", on);
}

// ---- faces that were missed, drawn on the picture

const BOX = /^\s*\d+(\s*,\s*\d+){3}\s*$/;
const CLICK = 4;

function rectangle(numbers) {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  shape.setAttribute("class", "missed");
  ["x", "y", "width", "height"].forEach((name, place) => shape.setAttribute(name, numbers[place]));
  return shape;
}

/* Lets boxes be drawn while the form is open: the textarea has them, and the picture shows what it has. */
function offerDrawing(details, lines) {
  const figure = result.querySelector(".marked");
  const picture = figure.querySelector("svg");
  const shapes = picture.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "g"));
  let box = null;
  let drew = false;

  const written = () => lines.value.split("\n").filter((line) => line.trim());
  const render = () => {
    const boxes = written().filter((line) => BOX.test(line)).map((line) => line.split(",").map(Number));
    shapes.replaceChildren(...(box ? [...boxes, box] : boxes).map(rectangle));
  };
  const write = (all) => {
    lines.value = all.join("\n");
    render();
  };
  /* Where a pointer is, in whole pixels of the picture; one that left it is at its edge. */
  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    const { width, height } = picture.viewBox.baseVal;
    return [[point.x, width], [point.y, height]].map(([at, end]) => Math.round(Math.min(Math.max(at, 0), end)));
  };
  const press = (event) => {
    drew = false;
    if (event.button !== 0 || !event.isPrimary || !details.open) return;
    const [x, y] = place(event);
    // Of the document, since a box may be drawn beyond the edge.
    const listening = new AbortController();
    const stop = () => {
      listening.abort();
      box = null;
      render();
    };
    const move = (moved) => {
      const [right, bottom] = place(moved);
      const [width, height] = [Math.abs(right - x), Math.abs(bottom - y)];
      // A click on a face stays one.
      const wide = Math.min(width, height) * picture.getScreenCTM().a >= CLICK;
      box = wide ? [Math.min(x, right), Math.min(y, bottom), width, height] : null;
      render();
    };
    const release = () => {
      if (box) {
        write([...written(), box.join(",")]);
        announce("A face was added.");
        drew = true;
      }
      stop();
    };
    for (const [name, react] of Object.entries({ pointermove: move, pointerup: release, pointercancel: stop })) {
      const mine = (each) => { if (each.pointerId === event.pointerId) react(each); };
      document.addEventListener(name, mine, { signal: listening.signal });
    }
  };

  for (const each of details.querySelectorAll(".with-script")) each.hidden = false;
  details.querySelector(".undo").addEventListener("click", () => {
    if (written().length) announce("A face was removed.");
    write(written().slice(0, -1));
  });
  lines.addEventListener("input", render);
  picture.addEventListener("pointerdown", press);
  // What ends on the face where it began is no click on that face's link; the keyboard's clicks have no detail.
  picture.addEventListener("click", (event) => { if (drew && event.detail) event.preventDefault(); });
  picture.addEventListener("dragstart", (event) => event.preventDefault());
  render();
}

/* The form may come with an answer; that it opens does not bubble. */
result?.addEventListener("toggle", ({ target: details }) => {
  const lines = details.querySelector("textarea[name=missed]");
  if (!lines) return;
  const figure = result.querySelector(".marked");
  figure.classList.toggle("drawable", details.open);
  if (details.dataset.drawable) return;
  details.dataset.drawable = "yes";
  offerDrawing(details, lines);
}, true);

/* Back and forward; moves within the page change nothing. */
window.addEventListener("popstate", () => {
  if (location.pathname + location.search !== shown) location.reload();
});

// ---- figures of models that are still being read

const FIGURES_PAUSE = 1000;
const FIGURES_TRIES = 60;

/* Asks for the page again until it has them, or says why there are none. */
async function fillIn(note) {
  for (let tries = 0; tries < FIGURES_TRIES; tries += 1) {
    await new Promise((resume) => { setTimeout(resume, FIGURES_PAUSE); });
    const response = await fetch(location.href, { credentials: "same-origin" });
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const now = page.getElementById("figures");
    if (now && "waiting" in now.dataset) continue;
    document.querySelector(".status tbody").replaceWith(page.querySelector(".status tbody"));
    if (now) note.replaceWith(now);
    else note.remove();
    announce(now?.textContent ?? "The figures are here.");
    return;
  }
}

const unread = document.querySelector("#figures[data-waiting]");
if (unread) fillIn(unread).catch(() => { /* The link to look again is still there. */ });
