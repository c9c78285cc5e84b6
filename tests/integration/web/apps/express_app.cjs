// An Express application; nothing in it knows where it runs.
const { createHash } = require("node:crypto");
const express = require("express");
const multer = require("multer");

const app = express();
const digest = (data) => createHash("sha256").update(data).digest("hex");

app.get("/", (req, res) => res.type("text/plain").send("hello from the framework"));
app.get("/items/:id", (req, res) => res.json({ id: Number(req.params.id), q: [].concat(req.query.q ?? []) }));
app.delete("/items/:id", (req, res) => res.status(204).end());
app.post("/json", express.json(), (req, res) => res.status(201).json(req.body));
app.put("/form", express.urlencoded({ extended: false }), (req, res) => res.json({ a: req.body.a, b: req.body.b }));
app.post("/files", multer().single("file"), (req, res) =>
  res.json({ note: req.body.note, name: req.file.originalname, sha256: digest(req.file.buffer) }),
);
app.get("/headers", (req, res) => res.set("X-Answer", "42").json({ custom: req.get("x-custom") }));
app.get("/cookies", (req, res) =>
  res.json(Object.fromEntries(req.get("cookie").split(/;\s*/).map((one) => one.split("=")))),
);
app.get("/set-cookies", (req, res) => res.cookie("one", "1").cookie("two", "2", { httpOnly: true }).json({}));
app.post("/binary", express.raw({ type: "*/*", limit: "5mb" }), (req, res) =>
  res.json({ size: req.body.length, sha256: digest(req.body) }),
);
app.get("/image", (req, res) => res.type("image/png").send(Buffer.from(Array.from({ length: 256 }, (_, n) => n))));
app.get("/redirect", (req, res) => res.redirect("/items/7"));
app.get("/unicode/:word", (req, res) => res.type("text/plain").send(`«${req.params.word}»`));
app.get("/stream", (req, res) => {
  res.type("text/plain");
  for (let number = 0; number < 5; number++) {
    res.write(`part ${number}\n`);
  }
  res.end();
});
app.get("/error", () => {
  throw new Error("as asked");
});
app.get("/teapot", (req, res) => res.status(418).send("short and stout"));
// Express 5's own answer to this fails through @codegenie/serverless-express 4, wherever it runs.
app.use((req, res) => res.status(404).send("nothing here"));

module.exports = app;
