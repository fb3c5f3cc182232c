import type { FunctionConfig } from "@isotope/platform";

export const config = {
  route: false,
  // 02:30 in Berlin, once a night, also when clocks change. The next ten: isotope timer history nightly-report
  cron: { schedule: "30 2 * * *", timeZone: "Europe/Berlin" },
  // kubectl create secret generic nightly-report --from-literal=orders=https://… --from-literal=webhook=https://…
  env: {
    ORDERS_URL: { secret: "nightly-report", key: "orders", optional: true },
    REPORT_URL: { secret: "nightly-report", key: "webhook", optional: true },
  },
} satisfies FunctionConfig;

interface Order {
  at: string;
  amount: number;
}

/** What stands in for a shop: three orders a day. */
const sampleOrders = (day: string): Order[] =>
  ["08:15", "12:30", "19:45"].map((time, at) => ({ at: `${day}T${time}:00Z`, amount: 10 * (at + 1) }));

async function ordersOf(day: string, signal: AbortSignal): Promise<Order[]> {
  const url = process.env["ORDERS_URL"];
  if (!url) return sampleOrders(day);
  const answer = await fetch(`${url}?day=${day}`, { signal });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return (await answer.json()) as Order[];
}

/**
 * Reports the orders of the day before. Which day that is, the fire says and not the clock: a report that comes late, is tried again or is made up for
 * is of the same day. Who receives it can tell a repetition by its key.
 */
export default async (request: Request): Promise<Response> => {
  const firedFor = request.headers.get("x-fission-timer-scheduled-time") ?? new Date().toISOString();
  const day = new Date(Date.parse(firedFor) - 86_400_000).toISOString().slice(0, 10);
  const orders = await ordersOf(day, request.signal);
  const report = { day, orders: orders.length, total: orders.reduce((sum, { amount }) => sum + amount, 0) };
  const url = process.env["REPORT_URL"];
  if (!url) console.log(`${day}: ${report.orders} orders, ${report.total} in all`);
  else {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": `report-${day}` },
      body: JSON.stringify(report),
      signal: request.signal,
    });
    // Not taken: the platform tries again, with growing pauses, and keeps a dead letter in the end.
    if (!answer.ok) return new Response(await answer.text(), { status: 502 });
  }
  return Response.json(report);
};
