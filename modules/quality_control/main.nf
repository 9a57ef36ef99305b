include { resultFolder } from '../../functions/arms'

process QUALITY_CONTROL {
    tag "${meta.id}"
    publishDir path: { resultFolder(meta.kind == 'reference' ? 'references' : 'samples', meta) }, mode: workflow.session.params.publish_mode, pattern: '*.qc.json'

    input:
    tuple val(meta), path(h5ad)
    val thresholds
    val code

    output:
    tuple val(meta), path("${meta.id}.qc.h5ad"), optional: true, emit: h5ad
    path "${meta.id}.qc.json", optional: true, topic: records
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process}"), val('scanpy'), eval('version_of.py scanpy'), topic: versions

    script:
    """
    quality_control.py --input ${h5ad} \\
        --min-counts ${thresholds.min_counts} --min-genes ${thresholds.min_genes} \\
        --min-cells ${thresholds.min_cells} --max-mito ${thresholds.max_mito} --mad ${thresholds.mad} \\
        --output ${meta.id}.qc.h5ad --summary ${meta.id}.qc.json --failure ${meta.id}.failure.json
    """

    stub:
    """
    touch ${meta.id}.qc.h5ad ${meta.id}.qc.json
    """
}
