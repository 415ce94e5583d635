/** Generated parts of hand-written Markdown stand between `<!-- generated:NAME -->` and `<!-- /generated:NAME -->`. */

const open = (name: string) => `<!-- generated:${name} -->`;
const close = (name: string) => `<!-- /generated:${name} -->`;

/** Whether a document has a place for that part. */
export function hasMarker(markdown: string, name: string): boolean {
  return markdown.includes(open(name)) && markdown.includes(close(name));
}

/** The document with that part replaced; unchanged when it has no place for it. An empty body leaves an empty place. */
export function fill(markdown: string, name: string, body: string): string {
  const from = markdown.indexOf(open(name));
  const to = markdown.indexOf(close(name));
  if (from === -1 || to < from) return markdown;
  const before = markdown.slice(0, from + open(name).length);
  return `${before}\n${body === '' ? '' : `\n${body.trim()}\n\n`}${markdown.slice(to)}`;
}

/** A Markdown table; cells may hold anything, `|` and line breaks included. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (text: string) => text.replace(/\|/g, '\\|').replace(/\s*\n\s*/g, ' ');
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Text as inline code, whatever backticks it holds. */
export function code(text: string): string {
  return text === '' ? '' : text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``;
}
