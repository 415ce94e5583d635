/**
 * One copy of each OpenTelemetry package (and of rxjs and zod): two copies of `api` do not see each other's providers, two of
 * `sdk-metrics` fail `instanceof`, and nothing says so at run time. Reads package-lock.json; exits 1 when there are two.
 */
import { readFileSync } from 'node:fs';

const lock = JSON.parse(readFileSync(`${import.meta.dirname}/../package-lock.json`, 'utf8')) as {
  packages: Record<string, { version?: string }>;
};
const single = /^(@opentelemetry\/|rxjs$|zod$|pino$|koffi$)/;
const copies = new Map<string, string[]>();
for (const [path, { version }] of Object.entries(lock.packages)) {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  if (path !== '' && single.test(name)) copies.set(name, [...(copies.get(name) ?? []), `${version} at ${path}`]);
}
for (const [name, places] of copies) {
  if (places.length > 1) {
    console.log(
      `${name} is installed ${places.length} times: ${places.join(', ')}. Align the versions in package.json.`,
    );
    process.exitCode = 1;
  }
}
