// The page: it shows what its address says, and every control changes the address.

const $ = (id) => document.getElementById(id);
const SEEDS = 2 ** 31;

const model = await (await fetch("/api/model")).json();
const nameOf = (id) => model.class_names[id]?.replaceAll("_", " ") ?? `class ${id}`;

// What is shown. `goal` is set only while interpolating. A mixture is a list of [class, weight].
const shown = { seed: model.seed, mixture: [[0, 1]], num: 8, truncation: model.truncation, goal: null };
let marked = null; // The picture that an interpolation to the next chosen one starts from.
let drawing = null; // The current request; a newer one aborts it.
let frames = [];
let playing = 0;

// --- The address ---

function mixtureOf(text) {
  return text.split(",").map((part) => part.split(":")).map(([id, weight]) => [Number(id), Number(weight ?? 1)]);
}

function textOf(mixture) {
  return mixture.length === 1 ? `${mixture[0][0]}` : mixture.map(([id, weight]) => `${id}:${weight}`).join(",");
}

function readAddress() {
  const query = new URLSearchParams(location.search);
  const number = (key, otherwise) => (query.has(key) ? Number(query.get(key)) : otherwise);
  const known = (mixture) => mixture.every(([id, weight]) => id >= 0 && id < model.num_classes && weight >= 0);
  // A link without a seed means seed 0, whatever --seed the command was started with.
  shown.seed = number("seed", query.size ? 0 : shown.seed);
  shown.num = number("num", shown.num);
  if (query.size) shown.truncation = number("truncation", null);
  const ends = ["class", "to_class"].map((key) => query.has(key) && mixtureOf(query.get(key)));
  if (ends[0] && known(ends[0])) shown.mixture = ends[0];
  if (query.has("to_seed") || query.has("to_class")) {
    shown.goal = { seed: number("to_seed", shown.seed), mixture: ends[1] && known(ends[1]) ? ends[1] : shown.mixture };
  }
}

function address() {
  const query = new URLSearchParams({ seed: shown.seed });
  if (model.num_classes) query.set("class", textOf(shown.mixture));
  if (shown.goal) {
    query.set("to_seed", shown.goal.seed);
    if (model.num_classes) query.set("to_class", textOf(shown.goal.mixture));
  }
  if (shown.truncation !== null) query.set("truncation", shown.truncation);
  query.set("num", shown.num);
  return query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
}

function changed() {
  history.replaceState(null, "", `?${address()}`);
  showControls();
  draw(address());
}

// --- Pictures ---

async function draw(query) {
  drawing?.abort();
  const mine = (drawing = new AbortController());
  $("png").href = `/api/grid.png?${query}`;
  $("npz").href = `/api/images.npz?${query}`;
  $("pictures").setAttribute("aria-busy", "true");
  say("Drawing");
  try {
    const answer = await fetch(`/api/images?${query}`, { signal: mine.signal });
    if (!answer.ok) throw new Error((await answer.json()).error);
    let count = 0;
    for await (const line of linesOf(answer.body)) {
      if (mine !== drawing) return;
      if (line.png) place(count++, `data:image/png;base64,${line.png}`);
      else if (line.seconds !== undefined) finish(count, line.seconds);
    }
  } catch (error) {
    if (mine !== drawing || error.name === "AbortError") return;
    $("pictures").setAttribute("aria-busy", "false");
    say(error instanceof TypeError ? "No answer. Is the command still running?" : error.message, true);
  }
}

async function* linesOf(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (text + decoder.decode(value, { stream: true })).split("\n");
    text = lines.pop();
    yield* lines.map((line) => JSON.parse(line));
  }
}

function place(index, source) {
  frames.length = Math.max(frames.length, index + 1);
  frames[index] = source;
  const item = $("pictures").children[index] ?? $("pictures").appendChild(slot(index));
  item.querySelector("img").src = source;
  label(item, index);
  if (index === position()) showFrame(index);
}

function slot(index) {
  const item = document.createElement("li");
  item.innerHTML = '<button type="button"><img></button><span></span>';
  item.querySelector("button").addEventListener("click", () => choose(index));
  return item;
}

function label(item, index) {
  const seed = (shown.seed + index) % SEEDS;
  const button = item.querySelector("button");
  const isMarked = !shown.goal && marked?.seed === seed && textOf(marked.mixture) === textOf(shown.mixture);
  button.setAttribute("aria-pressed", shown.goal ? index === position() : isMarked);
  button.title = shown.goal ? "Show this step" : "Choose for an interpolation";
  item.querySelector("img").alt = shown.goal ? `Step ${index + 1} of ${shown.num}` : `${described(shown.mixture)}, seed ${seed}`;
  item.querySelector("span").textContent = shown.goal ? "" : `seed ${seed}`;
}

function finish(count, seconds) {
  const list = $("pictures");
  while (list.children.length > count) list.lastChild.remove();
  frames.length = count;
  list.setAttribute("aria-busy", "false");
  say(`${count} ${count === 1 ? "picture" : "pictures"} in ${seconds < 0.1 ? seconds.toFixed(3) : seconds.toFixed(2)} s`);
  showFrame(position());
}

function choose(index) {
  if (shown.goal) return showFrame(index);
  const picked = { seed: (shown.seed + index) % SEEDS, mixture: shown.mixture };
  const same = marked && marked.seed === picked.seed && textOf(marked.mixture) === textOf(picked.mixture);
  if (marked && !same) {
    Object.assign(shown, { seed: marked.seed, mixture: marked.mixture, goal: picked });
    marked = null;
    return changed();
  }
  marked = same ? null : picked;
  showControls();
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

const described = (mixture) =>
  !model.num_classes ? "Picture" : mixture.map(([id, weight]) => (mixture.length > 1 ? `${weight} ${nameOf(id)}` : nameOf(id))).join(" + ");

// --- Interpolation ---

const position = () => Number($("position").value);

function showFrame(index) {
  $("position").value = index;
  if (!shown.goal) return;
  $("step").textContent = `${position() + 1} of ${shown.num}`;
  if (frames[position()]) $("frame").src = frames[position()];
  $("frame").alt = `Step ${position() + 1} of ${shown.num}`;
  [...$("pictures").children].forEach(label);
}

function play(start) {
  clearInterval(playing);
  playing = 0;
  $("play").textContent = start ? "Pause" : "Play";
  if (!start) return;
  let forward = position() < shown.num - 1;
  playing = setInterval(() => {
    if (position() >= shown.num - 1) forward = false;
    if (position() <= 0) forward = true;
    showFrame(position() + (forward ? 1 : -1));
  }, 120);
}

// --- Controls ---

const ends = { start: makeEnd("start", () => shown), goal: makeEnd("goal", () => shown.goal) };

function makeEnd(id, end) {
  const box = $(id);
  box.insertAdjacentHTML(
    "beforeend",
    `<div class="field classes"><label for="${id}-class">Class</label>
       <input type="text" id="${id}-class" role="combobox" aria-expanded="false" aria-controls="${id}-options"
         aria-autocomplete="list" autocomplete="off" spellcheck="false">
       <ul class="options" id="${id}-options" role="listbox" aria-label="Classes" hidden></ul>
       <label class="check"><input type="checkbox" id="${id}-mix"> mix several</label></div>
     <ul class="mixture" aria-label="Classes mixed"></ul>
     <div class="field"><label for="${id}-seed">Seed</label>
       <div class="row"><input type="number" id="${id}-seed" min="0" max="${SEEDS - 1}" step="1" inputmode="numeric">
       <button type="button" id="${id}-new">New</button></div></div>`,
  );
  const mix = $(`${id}-mix`);
  const pick = (label) => {
    const mixture = end().mixture;
    if (!mix.checked) end().mixture = [[label, 1]];
    else if (mixture.length < model.max_mixed && !mixture.some(([other]) => other === label)) end().mixture = [...mixture, [label, 1]];
    changed();
  };
  searchable($(`${id}-class`), $(`${id}-options`), pick);
  mix.addEventListener("change", () => {
    if (!mix.checked) end().mixture = [[end().mixture[0][0], 1]];
    changed();
  });
  $(`${id}-seed`).addEventListener("change", (event) => {
    if (!event.target.checkValidity() || event.target.value === "") return showControls();
    end().seed = Number(event.target.value);
    changed();
  });
  $(`${id}-new`).addEventListener("click", () => {
    end().seed = Math.floor(Math.random() * 1e6);
    changed();
  });
  box.querySelector(".classes").hidden = !model.num_classes;
  return {
    show() {
      const { seed, mixture } = end();
      const input = $(`${id}-class`);
      $(`${id}-seed`).value = seed;
      mix.checked ||= mixture.length > 1;
      input.dataset.chosen = mix.checked ? "" : nameOf(mixture[0][0]);
      input.placeholder = mix.checked ? "Add a class by name or id" : "Search by name or id";
      if (document.activeElement !== input) input.value = input.dataset.chosen;
      showMixture(box.querySelector(".mixture"), mix.checked ? mixture : [], end);
    },
  };
}

function showMixture(list, mixture, end) {
  const now = mixture.map(([id]) => id).join();
  if (list.dataset.ids === now) return; // Rebuilding would interrupt a slider that is being moved.
  list.dataset.ids = now;
  list.replaceChildren(
    ...mixture.map(([id, weight]) => {
      const item = document.createElement("li");
      item.innerHTML = '<span></span><input type="range" min="0" max="1" step="0.05"><button type="button">&times;</button>';
      const [name, slider, remove] = item.children;
      name.textContent = name.title = nameOf(id);
      slider.value = weight;
      slider.setAttribute("aria-label", `Weight of ${nameOf(id)}`);
      slider.addEventListener("input", () => {
        end().mixture = end().mixture.map(([other, w]) => [other, other === id ? Number(slider.value) : w]);
        changed();
      });
      remove.setAttribute("aria-label", `Remove ${nameOf(id)}`);
      remove.disabled = mixture.length === 1;
      remove.addEventListener("click", () => {
        end().mixture = end().mixture.filter(([other]) => other !== id);
        changed();
      });
      return item;
    }),
  );
}

// A text field with a list of the classes whose name or id contains the typed text; arrows, Enter and Escape work.
function searchable(input, list, pick) {
  let at = 0;
  const found = () => {
    const typed = input.value.trim().toLowerCase();
    const all = Array.from({ length: model.num_classes }, (_, id) => id);
    if (!typed || input.value === input.dataset.chosen) return all;
    const name = (id) => nameOf(id).toLowerCase();
    const rank = (id) => {
      if (String(id) === typed) return 0;
      if (name(id).startsWith(typed)) return 1;
      return String(id).startsWith(typed) || name(id).includes(typed) ? 2 : 3;
    };
    return all.map((id) => [rank(id), id]).filter(([r]) => r < 3).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, id]) => id);
  };
  const show = () => {
    const ids = found();
    at = Math.min(at, Math.max(ids.length - 1, 0));
    list.replaceChildren(
      ...ids.map((id, i) => {
        const option = document.createElement("li");
        option.id = `${list.id}-${id}`;
        option.dataset.id = id;
        option.role = "option";
        option.ariaSelected = i === at;
        option.textContent = nameOf(id);
        if (model.class_names.length) option.insertAdjacentHTML("beforeend", `<small>${id}</small>`);
        return option;
      }),
    );
    if (!ids.length) list.innerHTML = '<li class="none">No class matches</li>';
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    select(at);
  };
  const select = (index) => {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = index;
    const option = list.children[at];
    if (!option?.dataset.id) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  };
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (option) => {
    if (!option?.dataset.id) return;
    close();
    input.value = input.dataset.chosen = "";
    input.blur();
    pick(Number(option.dataset.id));
    input.focus();
    close();
    input.value = input.dataset.chosen;
    input.select();
  };
  input.addEventListener("focus", () => { input.select(); });
  input.addEventListener("click", () => { if (list.hidden) show(); });
  input.addEventListener("input", () => { at = 0; show(); });
  input.addEventListener("blur", () => { close(); input.value = input.dataset.chosen ?? ""; });
  input.addEventListener("keydown", (event) => {
    const last = list.children.length - 1;
    if (event.key === "Escape") { close(); input.value = input.dataset.chosen ?? ""; }
    else if (event.key === "Enter") { event.preventDefault(); if (!list.hidden) take(list.children[at]); }
    else if (event.key === "ArrowDown") { event.preventDefault(); if (list.hidden) show(); else select(Math.min(at + 1, last)); }
    else if (event.key === "ArrowUp") { event.preventDefault(); if (!list.hidden) select(Math.max(at - 1, 0)); }
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // Otherwise the field loses the focus and closes the list.
  list.addEventListener("click", (event) => take(event.target.closest("li")));
}

function showControls() {
  const going = shown.goal !== null;
  const columns = Math.min(shown.num, going || shown.num > 12 ? 8 : shown.num > 4 ? 4 : shown.num);
  $("pictures").style.setProperty("--columns", Math.max(columns, 1));
  $("start").querySelector("legend").textContent = going ? "From" : "Pictures";
  $("goal").hidden = $("viewer").hidden = !going;
  $("num-label").textContent = going ? "Number of steps" : "Number of pictures";
  $("num").value = shown.num;
  $("num").min = going ? 2 : 1;
  $("position").max = shown.num - 1;
  $("interpolate").setAttribute("aria-pressed", going);
  $("interpolate").textContent = going ? "Back to pictures" : "Interpolate";
  $("hint").textContent = going
    ? ""
    : marked
      ? `From ${described(marked.mixture)}, seed ${marked.seed}: choose a second picture, of any class, to interpolate to.`
      : "Choose two pictures to interpolate between them.";
  $("untruncated").checked = shown.truncation === null;
  $("truncation").value = shown.truncation ?? model.limit;
  $("truncation-value").textContent = shown.truncation ?? "none";
  ends.start.show();
  if (going) ends.goal.show();
  else if (playing) play(false);
  showFrame(position());
  [...$("pictures").children].forEach(label);
}

$("num").max = model.max_images;
$("num").addEventListener("change", () => {
  if (!$("num").checkValidity() || $("num").value === "") return showControls();
  shown.num = Number($("num").value);
  changed();
});
$("truncation").min = model.kind === "w" ? 0 : 0.05;
if (model.kind === "w") $("truncation-name").textContent = "Truncation ψ";
$("truncation").max = model.limit;
$("truncation-field").hidden = model.limit === null;
$("truncation").addEventListener("input", () => {
  shown.truncation = Number($("truncation").value);
  changed();
});
$("untruncated").addEventListener("change", () => {
  shown.truncation = $("untruncated").checked ? null : Number($("truncation").value);
  changed();
});
$("interpolate").addEventListener("click", () => {
  shown.goal = shown.goal ? null : { seed: (shown.seed + 1) % SEEDS, mixture: shown.mixture };
  shown.num = Math.max(shown.num, shown.goal ? 2 : 1);
  changed();
});
$("position").addEventListener("input", () => showFrame(position()));
$("play").addEventListener("click", () => play(!playing));
$("controls").addEventListener("submit", (event) => event.preventDefault());

// --- The model ---

const thousands = (number) => number.toLocaleString("en");
const [height, width] = model.size;
const size = `${width} × ${height}`;
document.title = `${model.name}, step ${model.step}`;
$("name").textContent = model.name;
const classes = model.num_classes ? `${thousands(model.num_classes)} classes` : "unconditional";
$("model").textContent = `step ${thousands(model.step)} · ${size} pixels · ${classes} · ${model.weights} weights`;
const KINDS = {
  resample: "entries of z beyond it are resampled",
  scale: "z, truncated at 2, is multiplied by it",
  std: "it is the standard deviation of z",
  w: "w keeps this share ψ of its distance from the mean",
};
$("facts").textContent =
  (model.limit === null ? "" : `Truncation is of kind ${model.kind}: ${KINDS[model.kind]}. `) +
  `Batch-norm statistics: ${model.statistics}. Interpolation is spherical in z, linear in class. ` +
  "The address of this page reproduces these pictures.";
$("show").classList.toggle("coarse", width < 64);

readAddress();
showControls();
// A bad link is requested unchanged, so that its error is shown.
draw(location.search ? location.search.slice(1) : address());
