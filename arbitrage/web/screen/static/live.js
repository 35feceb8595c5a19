// Keeps the first screen live: one stream of pictures, and a loud word when none comes. Decides nothing and sends nothing.

import { show } from "./bind.js";

const LATE_MS = 5000;
const root = document.getElementById("live");
const link = document.getElementById("link");
let heard = performance.now();

function say(text) {
  if (link.textContent !== text) link.textContent = text;
  if (link.hidden !== !text) link.hidden = !text;
  root.classList.toggle("lost", Boolean(text));
}

function listen() {
  const stream = new EventSource(root.dataset.src);
  stream.addEventListener("overview", (event) => {
    heard = performance.now();
    const picture = JSON.parse(event.data);
    show(root, picture);
    document.title = `${picture.headline.text} – ${root.dataset.page || "arbitrage"}`;
    say("");
  });
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, LATE_MS);
  });
}

setInterval(() => {
  const silent = performance.now() - heard;
  if (silent > LATE_MS) say(`No news for ${Math.round(silent / 1000)} s: what you see is old, and trading may have changed.`);
}, 1000);

listen();
