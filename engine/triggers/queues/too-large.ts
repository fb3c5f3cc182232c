import { PlatformError } from "../../../api/errors.ts";
import type { OutgoingMessage } from "./source.ts";

/** What `send` of a producer rejects with when the broker will never take a message, for its size. */
export const tooLarge = ({ topic, body }: OutgoingMessage, cause?: unknown): PlatformError =>
  new PlatformError(
    "body_too_large",
    `Cannot send to topic "${topic}": its broker takes no message of ${body.byteLength} bytes`,
    { cause },
  );

export const isTooLarge = (error: unknown): error is PlatformError =>
  error instanceof PlatformError && error.code === "body_too_large";
