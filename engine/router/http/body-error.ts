/** Why `Exchange.readBody` gave no body. */
export type BodyErrorCode = "too-large" | "client-gone" | "malformed";

export class BodyError extends Error {
  override readonly name = "BodyError";
  readonly code: BodyErrorCode;

  constructor(code: BodyErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
