// What IMPUTE made, as it is, where CALIBRATE gave nothing.
process KEEP_IMPUTED {
    tag "${meta.id}"

    input:
    tuple val(meta), path(imputed, stageAs: 'imputed/*')

    output:
    path "${meta.id}.imputed.h5ad", emit: h5ad

    script:
    """
    cp -L ${imputed} ${meta.id}.imputed.h5ad
    """

    stub:
    """
    touch ${meta.id}.imputed.h5ad
    """
}
