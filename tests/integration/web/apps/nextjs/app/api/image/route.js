export const dynamic = "force-dynamic";

export async function GET() {
  return new Response(Uint8Array.from({ length: 256 }, (_, n) => n), { headers: { "content-type": "image/png" } });
}
