import { z } from "zod";
import { flag, whole } from "./setting.ts";

/** `messageQueueType: azure-storage-queue`. Secret: `connectionString`, or `accountName` and `accountKey`. */
export const AzureQueueConfig = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .meta({ allowed: "a URL that starts with https:// or http://" })
    .optional()
    .describe("Address of the queue service; default: the one of the account or of the connection string"),
  encoding: z
    .enum(["auto", "base64", "plain"])
    .prefault("auto")
    .describe(
      "Of message bodies; auto: base64 where the body is that, else plain. Messages are sent in base64 unless it is plain",
    ),
  poisonQueue: flag(false).describe(
    "Without an error topic: what fails for good goes to the queue `<topic>-poison`, as Azure Functions has it, instead of the platform's dead letters",
  ),
  visibilityMs: whole(2_000, 604_800_000, 30_000).describe(
    "So long a message is hidden from others; renewed while the function works on it",
  ),
  pollMs: whole(50, 600_000, 1_000).describe(
    "Longest pause between two questions for messages while there are none",
  ),
});
export type AzureQueueConfig = z.infer<typeof AzureQueueConfig>;
