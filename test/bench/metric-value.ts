/** Sum of a metric's series whose labels contain `label`. */
export function metricValue(text: string, name: string, label = ""): number {
  return text
    .split("\n")
    .filter((line) => line.startsWith(name) && /[{ ]/.test(line[name.length] ?? "") && line.includes(label))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}
