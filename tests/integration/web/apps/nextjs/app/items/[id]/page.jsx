import { headers } from "next/headers";

/** Rendered for each request: it reads its parameters and a header. */
export default async function Item({ params, searchParams }) {
  const { id } = await params;
  const { q } = await searchParams;
  const custom = (await headers()).get("x-custom");
  return <p>{`item ${id}, q ${JSON.stringify(q ?? null)}, custom ${custom}`}</p>;
}
