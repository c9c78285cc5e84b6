"""A Flask application; nothing in it knows where it runs."""

import hashlib

from flask import Flask, Response, abort, jsonify, make_response, redirect, request

app = Flask(__name__)


@app.get("/")
def root():
    return Response("hello from the framework", mimetype="text/plain")


@app.get("/items/<int:item_id>")
def read_item(item_id):
    return jsonify(id=item_id, q=request.args.getlist("q"))


@app.delete("/items/<int:item_id>")
def delete_item(item_id):
    return "", 204


@app.post("/json")
def create():
    return jsonify(request.get_json()), 201


@app.put("/form")
def form():
    return jsonify(a=request.form["a"], b=request.form["b"])


@app.post("/files")
def files():
    file = request.files["file"]
    return jsonify(note=request.form["note"], name=file.filename, sha256=hashlib.sha256(file.read()).hexdigest())


@app.get("/headers")
def headers():
    answer = jsonify(custom=request.headers["X-Custom"])
    answer.headers["X-Answer"] = "42"
    return answer


@app.get("/cookies")
def cookies():
    return jsonify(a=request.cookies["a"], b=request.cookies["b"])


@app.get("/set-cookies")
def set_cookies():
    answer = make_response({})
    answer.set_cookie("one", "1")
    answer.set_cookie("two", "2", httponly=True)
    return answer


@app.post("/binary")
def binary():
    return jsonify(size=len(request.data), sha256=hashlib.sha256(request.data).hexdigest())


@app.get("/image")
def image():
    return Response(bytes(range(256)), mimetype="image/png")


@app.get("/redirect")
def to_items():
    return redirect("/items/7")


@app.get("/unicode/<word>")
def unicode(word):
    return Response(f"«{word}»", mimetype="text/plain")


@app.get("/stream")
def stream():
    return Response((f"part {number}\n" for number in range(5)), mimetype="text/plain")


@app.get("/error")
def error():
    raise RuntimeError("as asked")


@app.get("/teapot")
def teapot():
    abort(418, "short and stout")
