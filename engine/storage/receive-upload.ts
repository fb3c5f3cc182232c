import { once } from "node:events";
import type { Readable } from "node:stream";
import { Busboy, type BusboyInstance } from "@fastify/busboy";
import type { FastifyRequest } from "fastify";
import { PlatformError } from "../../api/errors.ts";
import type { ArchiveStore, StoredArchive } from "./archive-store.ts";

const FIELD = "uploadfile";

/**
 * Stores the file of a multipart upload: exactly one, in field `uploadfile`. It is committed after the form ended only,
 * so that a form that is cut off, or whose signature turns out wrong at its end, stores nothing.
 */
export async function receiveUpload(
  request: FastifyRequest,
  options: { readonly store: ArchiveStore; readonly maxArchiveBytes: number },
): Promise<{ archive: StoredArchive; created: boolean }> {
  const contentType = request.headers["content-type"];
  if (!contentType?.startsWith("multipart/form-data") || !isReadable(request.body)) {
    throw refused(`the content type must be "multipart/form-data", got "${contentType ?? ""}"`);
  }
  const sizeBytes = announcedSize(request, "x-file-size");
  const body = request.body;
  let form: BusboyInstance;
  try {
    form = new Busboy({
      headers: { "content-type": contentType },
      limits: { files: 1, fields: 8, fieldSize: 4096, fileSize: options.maxArchiveBytes + 1 },
    });
  } catch (cause) {
    throw refused(cause instanceof Error ? cause.message : "the form is malformed", cause);
  }
  let open: Readable | undefined;
  const abort = (error: Error): void => {
    // The form does not pass its end on to the file that is being read.
    open?.destroy(error);
    form.destroy(error);
  };
  body.once("error", abort);
  body.once("close", () => {
    if (!body.readableEnded) abort(new Error("The upload was cut off"));
  });
  const ended = once(form, "finish");
  ended.catch(() => {});
  const file = new Promise<Readable>((resolve, reject) => {
    form.once("file", (field: string, stream: Readable) => {
      open = stream;
      // It may fail before anybody reads it; a reader that comes later is told all the same.
      stream.on("error", () => {});
      if (field === FIELD) resolve(stream);
      else stream.resume();
      if (field !== FIELD) reject(refused(`the file must be in field "${FIELD}", got "${field}"`));
    });
    form.once("filesLimit", () => reject(refused("one file is allowed")));
    form.once("finish", () => reject(refused(`the form has no file in field "${FIELD}"`)));
    // A form that ends too early says so more than once.
    form.on("error", (cause: unknown) =>
      reject(refused(cause instanceof Error ? cause.message : "the form is malformed", cause)),
    );
  });
  // Both are awaited once the store asks for content; failing before that must not count as unhandled.
  file.catch(() => {});
  body.pipe(form);
  async function* content(): AsyncGenerator<Buffer> {
    for await (const chunk of await file) yield chunk;
    await ended;
  }
  try {
    return await options.store.put(content(), { sizeBytes });
  } catch (error) {
    body.unpipe(form);
    body.resume();
    if (error instanceof PlatformError) throw error;
    throw refused(error instanceof Error ? error.message : String(error), error);
  }
}

/** The size that a header announces, in bytes. Throws `archive_invalid` if it is no size. */
export function announcedSize(request: FastifyRequest, header: string): number | undefined {
  const value = request.headers[header];
  if (value === undefined) return undefined;
  if (typeof value !== "string" || !/^\d{1,15}$/.test(value)) {
    throw refused(`header "${header}" must be a number of bytes, got "${String(value)}"`);
  }
  return Number(value);
}

function isReadable(body: unknown): body is Readable {
  return typeof body === "object" && body !== null && "pipe" in body && "readableEnded" in body;
}

const refused = (why: string, cause?: unknown): PlatformError =>
  new PlatformError("archive_invalid", `Cannot store the upload: ${why}`, { cause });
