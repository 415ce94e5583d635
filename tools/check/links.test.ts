import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { anchorsOf, deadLinks } from './links.ts';

test('anchors are those that the web page would have', () => {
  const markdown =
    '# A `code` title!\n## Same\n## Same\n```\n# not one\n```\n<a id="own"></a>\n### [Linked](x.md) & more\n';
  assert.deepEqual([...anchorsOf(markdown)], ['a-code-title', 'same', 'same-1', 'linked--more', 'own']);
});

test('a dead file and a dead anchor are told with their line, code and the web are left alone', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'skl-links-'));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, 'there.md'), '# Here\n');
  const page = join(directory, 'page.md');
  const markdown = [
    '# Top',
    '[good](there.md#here) [self](#top) [web](https://example.com/x)',
    '`[code](nowhere.md)`',
    '[bad](nowhere.md) and [worse](there.md#gone)',
    '',
    '[reference]: also-nowhere.md',
  ].join('\n');
  writeFileSync(page, markdown);
  assert.deepEqual(
    deadLinks(page, markdown).map((d) => [d.line, d.target]),
    [
      [4, 'nowhere.md'],
      [4, 'there.md#gone'],
      [6, 'also-nowhere.md'],
    ],
  );
});
