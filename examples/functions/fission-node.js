// A function of the reference system's Node environment, unchanged.
module.exports = async function (context) {
  const { method, query, body } = context.request;
  if (method === "POST") {
    return { status: 200, body: { received: body }, headers: { "X-Served-By": "node form" } };
  }
  return { status: 200, body: `hello, ${query.name || "world"}!\n` };
};
