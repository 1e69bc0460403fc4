"""Where a site's records come from: a small object in the site's configuration."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from swarm.data.arrays import read_npz
from swarm.data.breast_cancer import read_breast_cancer
from swarm.data.dataset import Rows
from swarm.data.heart_disease import FLAMBY_SEED, read_heart_disease, split_like_flamby
from swarm.data.images import read_images
from swarm.data.misfits import Report
from swarm.data.parquet import read_parquet
from swarm.data.records import Records
from swarm.data.shards import split_shards, split_test
from swarm.data.table import read_csv
from swarm.errors import DataError
from swarm.spec import StudySpec

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class _Source(BaseModel):
    """What every source has. `allow_one_class` lets a site train whose training part holds one class only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Seed = 0
    allow_one_class: bool = False


class _Shardable(_Source):
    """A source that can be divided among rehearsing sites: this one gets shard `shard` (from 0) of `shards`.

    `test_fraction` of each class is held back for testing where the source has no test part of its own.
    """

    test_fraction: float = Field(default=0.25, ge=0, lt=1)
    shard: int | None = Field(default=None, ge=0)
    shards: int | None = Field(default=None, ge=1, le=256)

    @model_validator(mode="after")
    def _check(self) -> "_Shardable":
        if (self.shard is None) != (self.shards is None):
            raise ValueError("give shard and shards, or neither")
        if self.shard is not None and self.shards is not None and self.shard >= self.shards:
            raise ValueError(f"shard must be from 0 to {self.shards - 1}")
        return self

    def divide(self, records: Sequence[Records], spec: StudySpec) -> tuple[Records, Records]:
        """Give this site's training and test part of what was read."""
        own = [self._own(part, spec) for part in records]
        return (own[0], own[1]) if len(own) > 1 else self._split(own[0], spec)

    def _own(self, records: Records, spec: StudySpec) -> Records:
        if self.shard is None or self.shards is None:
            return records
        if not spec.data.classes:
            raise DataError("shards: only the records of a classification are divided among sites")
        return records.take(split_shards(records.labels, self.shards, self.seed)[self.shard])

    def _split(self, records: Records, spec: StudySpec) -> tuple[Records, Records]:
        strata = records.labels if spec.data.classes else records.labels * 0
        return _parts(records, split_test(strata, self.test_fraction, self.seed))


class CsvSource(_Shardable):
    """A CSV file, and maybe another one with the test part."""

    source: Literal["csv"]
    path: Path
    test_path: Path | None = None

    def read(self, spec: StudySpec, report: Report) -> Iterator[Records]:
        """Read all records, and those of a test part of its own."""
        for path in (self.path, self.test_path):
            if path is not None:
                yield read_csv(path, spec.data, report)


class ParquetSource(_Shardable):
    """A Parquet file, and maybe another one with the test part."""

    source: Literal["parquet"]
    path: Path
    test_path: Path | None = None

    def read(self, spec: StudySpec, report: Report) -> Iterator[Records]:
        """Read all records, and those of a test part of its own."""
        for path in (self.path, self.test_path):
            if path is not None:
                yield read_parquet(path, spec.data, report)


class ImagesSource(_Shardable):
    """A folder of images: a sub-folder for each class, or an index, which is looked for in the folder."""

    source: Literal["images"]
    path: Path
    index: Path | None = None

    def read(self, spec: StudySpec, report: Report) -> Iterator[Records]:
        """Read all images."""
        yield read_images(self.path, self.index, spec.data, report)


class NpzSource(_Shardable):
    """A NumPy archive."""

    source: Literal["npz"]
    path: Path

    def read(self, spec: StudySpec, report: Report) -> Iterator[Records]:
        """Read all records, and those of a test part of its own."""
        return read_npz(self.path, spec.data, report)


class BreastCancerSource(_Shardable):
    """The breast-cancer data that ships with scikit-learn.

    More is held back than elsewhere: with a quarter, a small site's AUC would rest on a handful of patients.
    """

    source: Literal["breast-cancer"]
    test_fraction: float = Field(default=0.4, ge=0, lt=1)

    def read(self, spec: StudySpec, report: Report) -> Iterator[Records]:
        """Read all records."""
        yield read_breast_cancer(spec.data, report)


class HeartDiseaseSource(_Source):
    """One of the four hospitals of UCI heart disease; the default seed gives FLamby's split.

    One class is allowed by default, because FLamby's split leaves Switzerland's training part with one.
    """

    source: Literal["heart-disease"]
    path: Path
    center: Literal["cleveland", "hungarian", "switzerland", "va"]
    seed: Seed = FLAMBY_SEED
    allow_one_class: bool = True

    def read(self, spec: StudySpec, report: Report) -> Iterator[Records]:
        """Read all records."""
        yield read_heart_disease(self.path, self.center, spec.data, report)

    def divide(self, records: Sequence[Records], spec: StudySpec) -> tuple[Records, Records]:
        """Give training and test part of what was read."""
        return _parts(records[0], split_like_flamby(records[0].labels, self.seed))


DataSource = CsvSource | ParquetSource | ImagesSource | NpzSource | BreastCancerSource | HeartDiseaseSource
_ADAPTER: TypeAdapter[DataSource] = TypeAdapter(Annotated[DataSource, Field(discriminator="source")])


def parse(record: Mapping[str, Any]) -> DataSource:
    """Validate a data source object; raises DataError naming each wrong field."""
    try:
        return _ADAPTER.validate_python(dict(record))
    except ValidationError as error:
        faults = [
            f"data.{'.'.join(map(str, fault['loc'][1:])) or 'source'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise DataError("; ".join(faults)) from None


def _parts(records: Records, rows: tuple[Rows, Rows]) -> tuple[Records, Records]:
    return records.take(rows[0]), records.take(rows[1])
