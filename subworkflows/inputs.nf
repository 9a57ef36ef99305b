include { thresholds } from '../functions/parameters'
include { ingestions ; inputSources ; readPlan ; sourcesJson } from '../functions/sheet'
include { CHECK_INPUT } from '../modules/check_input/main'
include { DESCRIBE_INPUT } from '../modules/describe_input/main'
include { INGEST } from '../modules/ingest/main'
include { PARSE_SHEET } from '../modules/parse_sheet/main'
include { QUALITY_CONTROL } from '../modules/quality_control/main'
include { QUALITY_CONTROL as QUALITY_CONTROL_REFERENCE } from '../modules/quality_control/main'
include { readJson } from '../functions/files'

// From a samplesheet to QC'd samples and the distinct references that they share.
workflow INPUTS {
    take:
    options
    sheet
    code

    main:
    PARSE_SHEET(sheet, file("${projectDir}/assets/schema_input.json"), code.parse_sheet)

    // [[id, kind, file, coordinates, exists, lines], ..]: every distinct input once
    sources = PARSE_SHEET.out.map { json -> inputSources(readJson(json).rows, sheet.parent) }
    // [id, kind, file, coordinates]
    present = sources
        .flatMap()
        .filter { _id, _kind, _data, _coordinates, exists, _lines -> exists }
        .map { id, kind, data, coordinates, _exists, _lines -> [id, kind, data, coordinates] }
    DESCRIBE_INPUT(present, code.describe_input)
    CHECK_INPUT(
        PARSE_SHEET.out,
        DESCRIBE_INPUT.out.description.toSortedList { json -> json.name },
        sources.map { all -> sourcesJson(all) },
        code.check_input,
    )
    plan = CHECK_INPUT.out.map { json, problems, requests -> [readPlan(json, problems), requests] }

    to_ingest = plan
        .flatMap { checked, requests -> ingestions(checked, requests) }
        .combine(present, by: 0)
        .map { _source, meta, request, _kind, data, coordinates -> [meta, data, coordinates, request] }
    INGEST(to_ingest, code.ingest)
    ingested = INGEST.out.h5ad.branch { meta, _h5ad ->
        references: meta.kind == 'reference'
        samples: true
    }
    QUALITY_CONTROL_REFERENCE(ingested.references, thresholds(options, 'reference'), code.quality_control)
    QUALITY_CONTROL(ingested.samples, thresholds(options, 'spatial'), code.quality_control)

    samples = QUALITY_CONTROL.out.h5ad
    references = QUALITY_CONTROL_REFERENCE.out.h5ad
    checked = CHECK_INPUT.out.map { json, _problems, _requests -> json }

    emit:
    samples // [[id, kind, reference], h5ad]
    references // [[id, kind], h5ad]
    checked // input.json
    sources
}
