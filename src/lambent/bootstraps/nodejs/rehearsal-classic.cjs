/** What a waiting runtime runs to have run something, the other kind of module. */
exports.handler = async (event) => event;
