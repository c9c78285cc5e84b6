export default function Page() {
  return <h1>hello from the framework</h1>;
}
