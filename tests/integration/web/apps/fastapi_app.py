"""A FastAPI application; nothing in it knows where it runs."""

import hashlib
import os
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import (
    BackgroundTasks,
    Cookie,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
    UploadFile,
)
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from pydantic import BaseModel

ready = {}


@asynccontextmanager
async def lifespan(app):
    ready["pid"] = os.getpid()
    yield


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float


@app.get("/", response_class=PlainTextResponse)
@app.head("/", response_class=PlainTextResponse)
async def root():
    return "hello from the framework"


@app.get("/items/{item_id}")
async def read_item(item_id: int, q: Annotated[list[str] | None, Query()] = None):
    return {"id": item_id, "q": q or []}


@app.delete("/items/{item_id}", status_code=204)
async def delete_item(item_id: int):
    return Response(status_code=204)


@app.post("/json", status_code=201)
async def create(item: Item):
    return item


@app.put("/form")
async def form(a: str = Form(), b: str = Form()):
    return {"a": a, "b": b}


@app.post("/files")
async def files(note: Annotated[str, Form()], file: Annotated[UploadFile, File()]):
    content = await file.read()
    return {"note": note, "name": file.filename, "sha256": hashlib.sha256(content).hexdigest()}


@app.get("/headers")
async def headers(x_custom: str = Header()):
    return JSONResponse({"custom": x_custom}, headers={"X-Answer": "42"})


@app.get("/cookies")
async def cookies(a: str = Cookie(), b: str = Cookie()):
    return {"a": a, "b": b}


@app.get("/set-cookies")
async def set_cookies(response: Response):
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return {}


@app.post("/binary")
async def binary(request: Request):
    body = await request.body()
    return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@app.get("/image")
async def image():
    return Response(bytes(range(256)), media_type="image/png")


@app.get("/redirect")
async def redirect():
    return RedirectResponse("/items/7", status_code=302)


@app.get("/unicode/{word}", response_class=PlainTextResponse)
async def unicode(word: str):
    return f"«{word}»"


@app.get("/stream")
async def stream():
    async def parts():
        for number in range(5):
            yield f"part {number}\n"

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/error")
async def error():
    raise RuntimeError("as asked")


@app.get("/teapot")
async def teapot():
    raise HTTPException(status_code=418, detail="short and stout")


@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(print, "the background task ran")
    return ready
