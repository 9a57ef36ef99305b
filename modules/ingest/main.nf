process INGEST {
    tag "${meta.id}"

    input:
    tuple val(meta), path(data, stageAs: 'input/*'), path(coordinates, stageAs: 'coordinates/*'), val(request)
    val code

    output:
    tuple val(meta), path("${meta.id}.ingested.h5ad"), optional: true, emit: h5ad
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process}"), val('anndata'), eval('version_of.py anndata'), topic: versions

    script:
    def place = coordinates ? "--coordinates ${coordinates}" : ''
    """
    cat > request.json <<'JSON'
    ${request}
    JSON
    ingest.py --kind ${meta.kind} --input ${data} ${place} --request request.json \\
        --output ${meta.id}.ingested.h5ad --failure ${meta.id}.failure.json
    """

    stub:
    """
    touch ${meta.id}.ingested.h5ad
    """
}
