/** What a waiting runtime runs to have run something. */
export const handler = async (event) => event;
