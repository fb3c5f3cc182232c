import { Buffer } from "node:buffer";
import type { FunctionConfig } from "@isotope/platform";
import { PNG } from "pngjs";
import { z } from "zod";

/**
 * The middle of an image pipeline: takes images from a queue, answers with smaller ones, which go to the next topic. No code of any queue:
 *
 *   npx isotope mqt create --name images --function thumbnail --mqtype redis-streams --topic images --resptopic thumbnails
 *   echo '{"name": "hello", "width": 64, "png": "'$(curl -s 'http://127.0.0.1:8888/qr?text=hello' | base64 | tr -d '\n')'"}' |
 *     npx isotope topic publish images --data -
 *   npx isotope topic peek thumbnails
 *
 * The same function works behind Kafka, NATS JetStream or Azure queues: only the trigger changes. A message that is no image is answered 422, so that
 * it is not tried again and can be looked at with `npx isotope dlq list --source mqt/images`.
 */
export const config = { route: false, timeout: "30s" } satisfies FunctionConfig;

const Image = z.object({
  name: z.string().min(1),
  png: z.base64(),
  width: z.int().min(1).max(1_024).default(128),
});

export default async (request: Request): Promise<Response> => {
  const given = Image.safeParse(await request.json().catch(() => undefined));
  if (!given.success) return new Response(z.prettifyError(given.error), { status: 422 });
  const { name, width } = given.data;
  const image = decoded(given.data.png);
  if (!image) return new Response(`"${name}" is no PNG`, { status: 422 });
  const small = scaled(image, Math.min(width, image.width));
  return Response.json({
    name,
    width: small.width,
    height: small.height,
    png: PNG.sync.write(small).toString("base64"),
  });
};

function decoded(base64: string): PNG | undefined {
  try {
    return PNG.sync.read(Buffer.from(base64, "base64"));
  } catch {
    return undefined;
  }
}

/** Each new pixel is the average of those that it stands for. */
function scaled(image: PNG, width: number): PNG {
  const height = Math.max(1, Math.round((image.height * width) / image.width));
  const small = new PNG({ width, height });
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let channel = 0; channel < 4; channel++)
        small.data[(y * width + x) * 4 + channel] = average(
          image,
          channel,
          span(x, width, image.width),
          span(y, height, image.height),
        );
  return small;
}

/** First and last of the pixels that the new one at `at` stands for. */
function span(at: number, of: number, all: number): [first: number, last: number] {
  const first = Math.floor((at * all) / of);
  return [first, Math.max(first, Math.floor(((at + 1) * all) / of) - 1)];
}

function average(
  image: PNG,
  channel: number,
  [left, right]: [number, number],
  [top, bottom]: [number, number],
): number {
  let sum = 0;
  for (let y = top; y <= bottom; y++)
    for (let x = left; x <= right; x++) sum += image.data[(y * image.width + x) * 4 + channel] ?? 0;
  return Math.round(sum / ((right - left + 1) * (bottom - top + 1)));
}
