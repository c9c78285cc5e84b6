"use strict";

const here = (name) => document.querySelector(`[data-asset="${name}"]`).classList.add("here");

async function facts() {
  const answer = await fetch("api/facts");
  const list = document.getElementById("facts");
  for (const [name, value] of Object.entries({ ...(await answer.json()), "this page's origin": location.origin })) {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    list.append(term, text);
  }
  here("data");
}

async function greet(event) {
  event.preventDefault();
  const form = event.target;
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  document.getElementById("greeting").textContent = (await answer.json()).greeting;
}

here("script");
if (getComputedStyle(document.querySelector("main")).borderRadius !== "0px") here("style");
for (const [name, image] of [["vector", document.querySelector("header img")], ["pixels", document.getElementById("pixels")]]) {
  image.decode().then(() => { if (image.naturalWidth > 0) here(name); });
}
document.getElementById("form").addEventListener("submit", greet);
facts();
