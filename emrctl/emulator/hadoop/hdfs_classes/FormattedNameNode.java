package emrctl;

import java.io.File;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.server.namenode.NameNode;
import org.apache.hadoop.hdfs.server.protocol.NamenodeProtocols;
import org.apache.hadoop.metrics2.lib.DefaultMetricsSystem;

/**
 * A NameNode that formats its storage if it is empty, and creates EMR's folders.
 *
 * With Hadoop's own main class, each of both needs a Java of its own.
 */
public class FormattedNameNode {
    public static void main(String[] arguments) {
        // Otherwise the second NameNode object of this Java cannot register its metrics.
        DefaultMetricsSystem.setMiniClusterMode(true);
        try {
            start(new HdfsConfiguration()).join();
        } catch (Exception error) {
            NameNode.LOG.error("The NameNode did not start", error);
            System.exit(1);
        }
    }

    private static NameNode start(Configuration conf) throws Exception {
        File storage = new File(new URI(conf.get("dfs.namenode.name.dir")));
        if (!new File(storage, "current/VERSION").exists()) {
            NameNode.format(conf);
        }
        NameNode node = NameNode.createNameNode(new String[0], conf);
        NamenodeProtocols files = node.getRpcServer();
        create(files, "/tmp", 01777);
        create(files, "/user/hadoop", 0755);
        create(files, "/var/log/spark/apps", 01777);
        NameNode.LOG.info("The folders of EMR exist");
        return node;
    }

    private static void create(NamenodeProtocols files, String path, int mode) throws Exception {
        if (files.getFileInfo(path) == null) {
            files.mkdirs(path, new FsPermission((short) 0755), true);
            files.setPermission(path, new FsPermission((short) mode));
        }
    }
}
