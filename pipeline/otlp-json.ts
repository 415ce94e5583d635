import type { Attributes, AttributeValue } from './catalogue.ts';

/**
 * Attributes in OTLP/JSON (opentelemetry-proto's JSON mapping: common/v1 KeyValue, AnyValue). Whole numbers are int_value, others double_value, as in
 * the OpenTelemetry SDK.
 */
export function keyValues(attributes: Attributes): object[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: AttributeValue): object {
  switch (typeof value) {
    case 'string':
      return { stringValue: value };
    case 'boolean':
      return { boolValue: value };
    case 'number':
      // The JSON mapping writes 64-bit integers as strings.
      return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
    default:
      return { arrayValue: { values: value.map((v) => ({ stringValue: v })) } };
  }
}
