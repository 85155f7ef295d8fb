// The types of a dashboard as JSON, made of those that Grafana publishes.
import type * as grafana from '@grafana/schema';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has the texts of enums instead of the enums, and may leave out what has a default.
type Plain<T> = T extends string ? `${T}`
  : T extends number ? `${T}` extends `${infer N extends number}` ? N : number
  : T extends Array<infer U> ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
type Loose<T> = T extends Array<infer U> ? Loose<U>[] : T extends object ? { [K in keyof T]?: Loose<T[K]> } : T;

type Field = NonNullable<grafana.Panel['fieldConfig']>;
// A query in the terms of the Prometheus data source.
type Query = {
  datasource: { type: 'prometheus'; uid: '${datasource}' };
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  range: boolean;
  editorMode?: 'code' | 'builder';
};
type Of<Kind extends string, Options, Custom> = Omit<Plain<grafana.Panel>, 'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource'> & {
  type: Kind;
  datasource: Query['datasource'];
  options: Loose<Plain<Options>>;
  targets: Query[];
  fieldConfig: {
    defaults: Omit<Plain<Field['defaults']>, 'custom' | 'unit'> & { unit: string; custom?: Loose<Plain<Custom>> };
    overrides: Plain<Field['overrides']>;
  };
};
type Row = Plain<Omit<grafana.RowPanel, 'panels'>> & { panels: [] };
export type Panels =
  | Of<'stat', stat.Options, never>
  | Of<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Of<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | Of<'table', table.Options, table.FieldConfig>
  | Row;
type Annotation = Plain<Omit<grafana.AnnotationQuery, 'datasource'>> & { datasource: Query['datasource']; expr: string; titleFormat: string; textFormat: string };
export type Dashboard = Plain<Omit<grafana.Dashboard, 'panels' | 'annotations'>> & { panels: Panels[]; annotations: { list: Annotation[] } };
