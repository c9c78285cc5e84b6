// Greets from Node.js.
export const handler = async (event, context) => {
  console.log(`${event.name} calls ${context.functionName}`);
  return { hello: event.name, node: process.version };
};
