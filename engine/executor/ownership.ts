import { createHash } from "node:crypto";

/**
 * Which of the members owns a key: the one whose hash with the key is highest (rendezvous hashing), so that a member that comes or goes
 * moves only the keys that it gets or had. Undefined when there are no members.
 */
export function ownerOf(key: string, members: readonly string[]): string | undefined {
  let owner: string | undefined;
  let highest = "";
  for (const member of members) {
    const weight = createHash("sha256").update(`${member}\0${key}`).digest("hex");
    if (owner !== undefined && weight <= highest) continue;
    owner = member;
    highest = weight;
  }
  return owner;
}
