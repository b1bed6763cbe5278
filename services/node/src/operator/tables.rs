//! Tables as they stand in the store, row by row, undecoded: whoever asks knows the messages.

use super::{Operator, status, store};
use p92_eventlog::tables;
use p92_kernel::{ErrorCode, Failure, PageSize};
use p92_proto::operator::v1::{
    GetTableRowRequest, GetTableRowResponse, ScanTableRequest, ScanTableResponse, Table, TableRow,
};
use p92_storage::{Class, RowKey, Side, TableRef};
use tonic::Status;

pub(super) fn to_wire(table: &p92_storage::Table) -> Table {
    let class = match table.class {
        Class::Log => "log",
        Class::State => "state",
        Class::View => "view",
    };
    Table {
        name: table.name.to_owned(),
        class: class.to_owned(),
        row: table.row.to_owned(),
        serves: table.serves.to_owned(),
    }
}

impl Operator {
    /// Every table, by name.
    pub(super) fn all_tables(&self) -> Vec<&'static p92_storage::Table> {
        let views = self.runtimes.iter().flat_map(|runtime| runtime.views()).map(|view| view.table());
        let mut all: Vec<_> = views.chain(tables::all()).chain(self.tables.iter().copied()).collect();
        all.sort_by_key(|table| table.name);
        all.dedup_by_key(|table| table.name);
        all
    }

    /// A table as it answers reads here.
    fn table(&self, name: &str) -> Result<TableRef, Status> {
        let table = self.all_tables().into_iter().find(|table| table.name == name).ok_or_else(|| {
            let text = format!("There is no table {name}. `p92 table list` shows them.");
            status(Failure::new(ErrorCode::NotFound, "NO_SUCH_TABLE", text))
        })?;
        let side = match table.class {
            Class::View => {
                self.runtime_of(table.name).map_or(Side::A, |runtime| runtime.answering_side(table))
            }
            Class::Log | Class::State => Side::Only,
        };
        Ok(table.side(side))
    }

    pub(super) async fn row(&self, request: GetTableRowRequest) -> Result<GetTableRowResponse, Status> {
        let GetTableRowRequest { name, partition, clustering } = request;
        let table = self.table(&name)?;
        let key = RowKey::new(table, partition.clone(), clustering.clone());
        let row = self.platform.engine.get(&key).await.map_err(store)?;
        let row = row.map(|row| TableRow { partition, clustering, stamp: row.stamp, value: row.value });
        Ok(GetTableRowResponse { table: Some(to_wire(table.table)), row })
    }

    pub(super) async fn page(&self, request: ScanTableRequest) -> Result<ScanTableResponse, Status> {
        let ScanTableRequest { name, page_size, page_token } = request;
        let table = self.table(&name)?;
        let limit = PageSize::clamp(page_size, 100, 1_000).get();
        let after = (!page_token.is_empty()).then_some(page_token);
        let page = self.platform.engine.scan_table(table, after.as_ref(), limit).await.map_err(store)?;
        let rows = page.rows.into_iter().map(|row| TableRow {
            partition: row.partition,
            clustering: row.clustering,
            stamp: row.row.stamp,
            value: row.row.value,
        });
        Ok(ScanTableResponse {
            table: Some(to_wire(table.table)),
            rows: rows.collect(),
            next_page_token: page.next.unwrap_or_default(),
        })
    }
}
