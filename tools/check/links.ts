/** Links in Markdown: every relative one leads to a file of this working copy, every anchor to a heading in it. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

export interface DeadLink {
  readonly file: string;
  readonly line: number;
  readonly target: string;
  readonly why: string;
}

/** Markdown with fenced and inline code blanked out: what looks like a link in there is none. */
function prose(markdown: string): string {
  const blank = (text: string) => text.replace(/[^\n]/g, ' ');
  return markdown.replace(/^(```|~~~)[\s\S]*?^\1/gm, blank).replace(/`[^`\n]*`/g, blank);
}

/** GitHub's anchor of a heading: lower case, punctuation gone, spaces to dashes, repeats numbered. */
export function anchorsOf(markdown: string): Set<string> {
  const out = new Set<string>();
  const seen = new Map<string, number>();
  const body = markdown.replace(/^(```|~~~)[\s\S]*?^\1/gm, '');
  for (const [, heading] of body.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const text = heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = text.replace(/[^\p{L}\p{N}_\- ]/gu, '').replace(/ /g, '-');
    const n = seen.get(slug) ?? 0;
    seen.set(slug, n + 1);
    out.add(n === 0 ? slug : `${slug}-${n}`);
  }
  for (const [, id] of body.matchAll(/<a (?:id|name)="([^"]+)"/g)) out.add(id!);
  return out;
}

function whyDead(file: string, target: string): string | undefined {
  if (/^[a-z][a-z+.-]*:/i.test(target)) return undefined;
  const [path, anchor] = target.split('#', 2) as [string, string?];
  const absolute =
    path === '' ? file : normalize(path.startsWith('/') ? path.slice(1) : join(dirname(file), decodeURI(path)));
  if (!existsSync(absolute)) return `${absolute} does not exist`;
  if (!anchor || !absolute.endsWith('.md') || statSync(absolute).isDirectory()) return undefined;
  return anchorsOf(readFileSync(absolute, 'utf8')).has(anchor) ? undefined : `${absolute} has no heading #${anchor}`;
}

/** Dead links of one Markdown file; paths are relative to the current directory. Addresses of the web are not fetched. */
export function deadLinks(file: string, markdown: string): DeadLink[] {
  const out: DeadLink[] = [];
  prose(markdown)
    .split('\n')
    .forEach((text, i) => {
      const links = [...text.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g), ...text.matchAll(/^\s*\[[^\]]+\]:\s+(\S+)/g)];
      for (const [, target] of links) {
        const why = whyDead(file, target!);
        if (why) out.push({ file, line: i + 1, target: target!, why });
      }
    });
  return out;
}
