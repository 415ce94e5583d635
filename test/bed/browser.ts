import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import type { TestNode } from './node.ts';

const executable = '/usr/bin/chromium';
/** Without these it looks for hosts of its maker at every start; there is no way out of the node for them. */
const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A page and everything about it that must not be. */
export interface WatchedPage {
  readonly page: Page;
  /** Errors of scripts, messages of the console above "info", and what the page's policy forbade. */
  readonly complaints: readonly string[];
  /** Every address that was asked for. */
  readonly requests: readonly string[];
}

/** Debian's Chromium in a test node: `localhost` is the node's, and nothing else can be reached. */
export interface NodeBrowser {
  open(
    url: string,
    options?: { readonly colorScheme?: 'light' | 'dark'; readonly width?: number; readonly height?: number },
  ): Promise<WatchedPage>;
  stop(): Promise<void>;
}

/** @param node where it runs: what makes a command line run there */
export async function startBrowser(node: Pick<TestNode, 'enter'>): Promise<NodeBrowser> {
  const folder = mkdtempSync(join(tmpdir(), 'skl-browser-'));
  const wrapper = join(folder, 'chromium');
  const quoted = node.enter([executable]).map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  writeFileSync(wrapper, `#!/bin/sh\nexec ${quoted.join(' ')} "$@"\n`);
  chmodSync(wrapper, 0o755);
  let browser: Browser;
  try {
    browser = await chromium.launch({ executablePath: wrapper, args: flags, timeout: 60_000 });
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  return {
    async open(url, { colorScheme = 'light', width = 1280, height = 860 } = {}) {
      const context = await browser.newContext({ colorScheme, viewport: { width, height }, locale: 'en-GB' });
      const page = await context.newPage();
      const complaints: string[] = [];
      const requests: string[] = [];
      page.on('pageerror', (error) => complaints.push(String(error)));
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
      page.on('request', (request) => requests.push(request.url()));
      await page.goto(url);
      return { page, complaints, requests };
    },
    async stop() {
      await browser.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
