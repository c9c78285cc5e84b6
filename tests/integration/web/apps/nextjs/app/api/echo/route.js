import { createHash } from "node:crypto";

export async function POST(request) {
  const body = Buffer.from(await request.arrayBuffer());
  return Response.json({ size: body.length, sha256: createHash("sha256").update(body).digest("hex") }, { status: 201 });
}

export async function GET() {
  const encoder = new TextEncoder();
  const parts = new ReadableStream({
    start(controller) {
      for (let number = 0; number < 5; number++) {
        controller.enqueue(encoder.encode(`part ${number}\n`));
      }
      controller.close();
    },
  });
  return new Response(parts, { headers: { "content-type": "text/plain" } });
}
export const dynamic = "force-dynamic";
