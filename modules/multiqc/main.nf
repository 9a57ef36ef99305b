process MULTIQC {
    publishDir path: { "${workflow.session.params.outdir}/multiqc" }, mode: workflow.session.params.publish_mode

    input:
    path data
    path versions
    path config
    val title

    output:
    path 'multiqc_report.html', emit: report
    path 'multiqc_report_data', emit: data

    script:
    def quoted = title.replace("'", "'\\''")
    """
    multiqc --force --config ${config} --config ${data}/page_config.json --title '${quoted}' --filename multiqc_report.html ${data} ${versions}
    """

    stub:
    """
    mkdir multiqc_report_data
    touch multiqc_report.html
    """
}
