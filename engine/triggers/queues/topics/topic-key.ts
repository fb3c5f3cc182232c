const PARTITIONS = 256;

/** Stream of a built-in topic. The part in braces is what Redis Cluster places it by. */
export function topicKey(namespace: string, topic: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${namespace}/${topic}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  return `{ev:${(hash >>> 0) % PARTITIONS}}:topic:${namespace}/${topic}`;
}
