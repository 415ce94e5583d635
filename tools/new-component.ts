/** `make new-receiver NAME=x`: a component folder that compiles and whose tests pass, and its line in components.ts. */
import { spawnSync } from 'node:child_process';
import { type ComponentKind, componentKinds, createComponent } from './components/create.ts';

process.chdir(`${import.meta.dirname}/..`);
const [kind, name] = process.argv.slice(2);
if (!componentKinds.includes(kind as ComponentKind)) {
  console.error(`usage: make new-{${componentKinds.join(',')}} NAME=lower_snake_case`);
  process.exit(2);
}
try {
  const files = createComponent('.', kind as ComponentKind, name ?? '');
  // A long name breaks lines elsewhere than a short one.
  spawnSync('biome', ['check', '--write', ...files.filter((f) => f.endsWith('.ts'))], { stdio: 'ignore' });
  for (const file of files) console.log(`  ${file}`);
  console.log(`\nNext: say in its README what question it answers, then replace the example; make check and`);
  console.log(`node tools/test.ts unit --file ${kind}s/${name} are green now and tell when they are not.`);
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
