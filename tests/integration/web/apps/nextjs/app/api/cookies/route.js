import { cookies } from "next/headers";

export async function GET() {
  const jar = await cookies();
  const seen = Object.fromEntries(jar.getAll().map(({ name, value }) => [name, value]));
  jar.set("one", "1");
  jar.set("two", "2", { httpOnly: true });
  return Response.json(seen);
}
