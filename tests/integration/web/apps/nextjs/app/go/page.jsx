import { redirect } from "next/navigation";

export const dynamic = "force-dynamic";

export default function Go() {
  redirect("/items/7");
}
