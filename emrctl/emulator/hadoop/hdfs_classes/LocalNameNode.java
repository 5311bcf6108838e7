package emrctl;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileReader;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.net.InetSocketAddress;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.server.namenode.ha.HAProxyFactory;
import org.apache.hadoop.io.retry.FailoverProxyProvider;
import org.apache.hadoop.ipc.Client;
import org.apache.hadoop.ipc.RPC;
import org.apache.hadoop.ipc.RemoteException;
import org.apache.hadoop.ipc.RpcInvocationHandler;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * Connects clients of hdfs:// to the NameNode of their cluster; the first call has it started.
 *
 * A file system object that is only created, as Spark does for the default one, calls nothing. The
 * folder emrctl.hdfs.folder contains `user`, the name that the NameNode accepts, and `address` once
 * it is running; a file `requested` asks the emulator to start it.
 */
public class LocalNameNode implements FailoverProxyProvider, RpcInvocationHandler {
    private static final long TIMEOUT_MS = 240000;

    private final Configuration conf;
    private final Class protocol;
    private final HAProxyFactory factory;
    private final File folder;
    private Object target;

    public LocalNameNode(Configuration conf, URI uri, Class protocol, HAProxyFactory factory) {
        this.conf = new Configuration(conf);
        // The retries of the caller are enough for a NameNode that is being restarted.
        this.conf.setInt("ipc.client.connect.max.retries", 0);
        this.protocol = protocol;
        this.factory = factory;
        this.folder = new File(conf.get("emrctl.hdfs.folder"));
    }

    public Class getInterface() {
        return protocol;
    }

    public FailoverProxyProvider.ProxyInfo getProxy() {
        Class[] interfaces = new Class[] {protocol};
        Object proxy = Proxy.newProxyInstance(protocol.getClassLoader(), interfaces, this);
        return new FailoverProxyProvider.ProxyInfo(proxy, "the NameNode");
    }

    public synchronized void performFailover(Object proxy) {
        close();
    }

    public synchronized void close() {
        if (target != null) {
            RPC.stopProxy(target);
            target = null;
        }
    }

    public Object invoke(Object proxy, Method method, Object[] arguments) throws Throwable {
        try {
            return method.invoke(target(), arguments);
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
    }

    public Client.ConnectionId getConnectionId() {
        try {
            return RPC.getConnectionIdForProxy(target());
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private synchronized Object target() throws IOException {
        if (target == null) {
            target = connect(waitForAddress());
        }
        return target;
    }

    private Object connect(String address) throws IOException {
        int colon = address.indexOf(':');
        int port = Integer.parseInt(address.substring(colon + 1));
        InetSocketAddress socket = new InetSocketAddress(address.substring(0, colon), port);
        UserGroupInformation user = UserGroupInformation.createRemoteUser(read("user"));
        return factory.createProxy(conf, socket, protocol, user, false);
    }

    private String waitForAddress() throws IOException {
        File address = new File(folder, "address");
        File request = new File(folder, "requested");
        long deadline = System.currentTimeMillis() + TIMEOUT_MS;
        boolean requested = false;
        while (!address.exists()) {
            if (!requested) {
                request.createNewFile();
                requested = true;
            } else if (!request.exists() && new File(folder, "error").exists()) {
                // Any other exception would be retried.
                throw new RemoteException(IOException.class.getName(), read("error"));
            } else if (System.currentTimeMillis() > deadline) {
                String text = "HDFS did not start within " + TIMEOUT_MS / 1000 + " s";
                throw new RemoteException(IOException.class.getName(), text);
            }
            pause();
        }
        return read("address");
    }

    private static void pause() throws IOException {
        try {
            Thread.sleep(50);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while HDFS was starting");
        }
    }

    private String read(String name) throws IOException {
        BufferedReader reader = new BufferedReader(new FileReader(new File(folder, name)));
        try {
            return String.valueOf(reader.readLine());
        } finally {
            reader.close();
        }
    }
}
