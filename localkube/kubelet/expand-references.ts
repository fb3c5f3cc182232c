/** Replaces `$(NAME)` by the value of NAME where there is one, and `$$` by `$`, as Kubernetes does in commands and values. */
export function expandReferences(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\$(\$|\(([^()]*)\))/g, (whole, inner: string, name: string | undefined) => {
    if (inner === "$") return "$";
    return (name !== undefined ? values[name] : undefined) ?? whole;
  });
}
