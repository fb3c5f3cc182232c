import type { Hash } from "node:crypto";

/**
 * An image tag that says what is in the image. It begins with a letter that is no part of a number: helm takes a tag such as 408964631297 for one,
 * and YAML such as 12e456.
 */
export const contentTag = (content: Hash): string => `c${content.digest("hex").slice(0, 12)}`;
