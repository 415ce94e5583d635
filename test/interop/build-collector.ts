/** Builds the OpenTelemetry Collector that the interop lane uses, when it was not: `node test/interop/build-collector.ts`. Prints its path. */
import { collectorBinary } from './collector-process.ts';

const binary = collectorBinary();
if ('whyNot' in binary) {
  console.error(binary.whyNot);
  process.exitCode = 1;
} else console.log(binary.path);
